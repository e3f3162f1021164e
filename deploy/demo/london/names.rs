//! Given names and surnames of London's communities.
//!
//! The lists are common names from general knowledge, the most frequent first. Their weights roughly follow Zipf's law.
//! The communities' shares follow the Census 2021 ethnic groups of London (ONS, table TS021) only broadly. No list was
//! copied from a register. All letters exist in windows-1252, which some boroughs' systems still write.

use std::sync::LazyLock;

use crate::random::Random;

/// A community: its share of 1,000 households, women's names, men's names, surnames.
type Community = (u64, &'static str, &'static str, &'static str);

const COMMUNITIES: [Community; 9] = [
    (
        410,
        "Olivia Amelia Emily Sarah Charlotte Jessica Sophie Emma Laura Rebecca Lucy Hannah Katherine Susan Margaret \
         Elizabeth Mary Patricia Christine Julie Karen Claire Helen Nicola Alison Samantha Rachel Victoria Alice Grace \
         Isla Poppy Freya Florence Daisy Ella Chloe Megan Holly Georgia Abigail Eleanor Rosie Zoë Chloë Siân Joan Doreen \
         Maureen Sheila Jean Barbara Linda Jacqueline Deborah Tracey Sharon Michelle Lorraine Gillian Anne Jane Ruth \
         Harriet Imogen Matilda",
        "Oliver George Harry Jack James Thomas William Daniel David John Michael Christopher Matthew Andrew Robert Paul \
         Mark Stephen Richard Peter Charlie Alfie Henry Arthur Archie Leo Joshua Samuel Benjamin Joseph Edward Alexander \
         Luke Ryan Adam Jonathan Simon Anthony Kevin Gary Ian Alan Brian Keith Graham Kenneth Raymond Roy Ronald Dennis \
         Derek Terence Philip Martin Nicholas Timothy Patrick Sean Liam Connor Callum Jamie Lewis Nathan Toby Rupert \
         André",
        "Smith Jones Williams Brown Taylor Davies Wilson Evans Thomas Johnson Roberts Walker Wright Robinson Thompson \
         White Hughes Edwards Green Hall Wood Harris Lewis Martin Jackson Clarke Clark Turner Hill Cooper Ward Moore \
         Morris King Watson Baker Harrison Morgan Young Allen Mitchell James Anderson Phillips Lee Bell Parker Davis \
         Bennett Miller Cook Shaw Richardson Carter Collins Marshall Bailey Gray Cox Adams Wilkinson Foster Chapman \
         Mason Russell Powell Webb Rogers Hunt Mills Holmes Palmer Matthews Gibson Fisher Barnes Knight Lloyd Butler \
         Price Stevens Reynolds Saunders Osborne Hart Perkins Hawkins Andrews Barker Page Lawrence Dixon Fletcher Ellis \
         Murphy O'Brien Kelly Byrne Ryan O'Connor Walsh Sullivan Doyle McCarthy Kennedy Lynch Quinn Gallagher Macdonald \
         Campbell Stewart Fraser Reid Sinclair Brontë Beckett-Hale Ashdown-Reeve",
    ),
    (
        150,
        "Fatima Aisha Maryam Zainab Khadija Amina Ayesha Nusrat Sadia Rukhsana Shazia Farzana Nasreen Yasmin Samina \
         Sumaiya Tahmina Rehana Nazia Hafsa Safa Inaya Halima Rabia Shabana Noor Anisa Tasnim Farhana Salma",
        "Mohammed Muhammad Ahmed Ali Ibrahim Yusuf Abdul Hassan Omar Hamza Bilal Imran Tariq Usman Khalid Asif Shahid \
         Zain Adnan Faisal Rashid Kamal Rahim Nasir Jamal Ismail Mustafa Haroon Salman Rafiq Shah Iqbal",
        "Khan Ahmed Begum Hussain Ali Miah Rahman Islam Uddin Chowdhury Akhtar Malik Hossain Bibi Iqbal Shah Mahmood \
         Sheikh Choudhury Mohammed Aziz Haque Qureshi Siddiqui Mirza Butt Raja Chaudhry Alam Karim Ullah Hasan Mian \
         Syed Kazi Talukdar Bhatti Javed Saeed Anwar Rashid Latif Hamid Sultana Khatun",
    ),
    (
        120,
        "Priya Anjali Pooja Meera Sunita Kavita Neha Jaspreet Harpreet Simran Manpreet Nisha Rekha Usha Shanti Lakshmi \
         Asha Deepa Geeta Rani Kiran Divya Ananya Diya Aarti Bhavna Hema Jyoti Nirmala Thushara",
        "Raj Amit Sanjay Vijay Rahul Arjun Rohan Gurpreet Harjit Sukhdev Balwinder Anil Sunil Ashok Ramesh Suresh Dinesh \
         Mahesh Kishan Dev Aarav Nikhil Vikram Jaswinder Paramjit Kumar Prakash Siva Nathan Ravi",
        "Patel Singh Kaur Shah Sharma Kumar Gill Mistry Desai Mehta Dhillon Sandhu Joshi Parmar Sidhu Chauhan Bains Gupta \
         Solanki Verma Grewal Rao Nair Reddy Menon Thapa Gurung Perera Fernando Silva Sivakumar Rajan Chopra Kapoor \
         Malhotra Amin Modi Trivedi Pandya Bhatt Dhaliwal Virdee",
    ),
    (
        90,
        "Blessing Grace Abimbola Funmilayo Chioma Ngozi Adaeze Folake Yetunde Temitope Abena Akosua Ama Efua Esi \
         Comfort Patience Mercy Joy Precious Ifeoma Nkechi Titilayo Bukola Omolara Fatou Aminata Mariama Esther Ruth",
        "Emmanuel Samuel David Daniel Oluwaseun Chukwuemeka Kwame Kofi Kwabena Yaw Adebayo Tunde Babatunde Femi Segun \
         Ikenna Obinna Emeka Kelechi Chidi Joseph Isaac Michael Peter Lamin Ousmane Mamadou Ayodele Olumide Kojo",
        "Mensah Adeyemi Okafor Owusu Osei Boateng Adebayo Okonkwo Eze Ogunleye Appiah Asante Balogun Afolabi Nwosu \
         Agyemang Akinola Amoah Williams Johnson Adeleke Ojo Bello Kamara Sesay Conteh Bangura Koroma Diallo Jallow \
         Ceesay Okoro Nwachukwu Oyelaran Olatunji Adu Antwi Ofori Ansah Quaye Addo Darko Mbeki Tshabalala Moyo",
    ),
    (
        60,
        "Marcia Sharon Beverley Yvonne Paulette Shanice Keisha Jada Tanisha Aaliyah Monique Simone Naomi Destiny Gloria \
         Hyacinth Pearl Claudette Cynthia Merle Latoya Chantelle Renée Kayla Ebony",
        "Winston Delroy Leroy Errol Devon Tyrone Jermaine Marlon Tyrell Jayden Kieran Dwayne Curtis Darren Leon Neville \
         Clive Desmond Carlton Trevor Andre Reece Malachi Isaiah Elijah",
        "Campbell Brown Williams Francis Clarke Gordon Grant Thompson Reid Morgan Henry Joseph Charles Bailey Powell \
         Barrett Pryce Bernard Daley Gayle Chambers Lindo Samuels Sterling Blake Morrison Dacosta Beckford Pinnock \
         Wedderburn Hylton Cumberbatch Brathwaite Greenidge Alleyne",
    ),
    (
        70,
        "Anna Maria Agnieszka Katarzyna Ewa Monika Joanna Magdalena Elena Ioana Andreea Mihaela Alexandra Natalia Oksana \
         Olena Irina Svetlana Kristina Ruta Daiva Ivana Petra Zuzana Julia Zofia Hanna Maja Dorota Beata",
        "Piotr Tomasz Marcin Krzysztof Andrzej Jan Adam Andrei Alexandru Ionut Mihai Cristian Florin Vasile Dmitri Sergei \
         Oleksandr Ivan Pavel Tomas Marius Darius Jakub Filip Kacper Antoni Georgi Nikolay Stefan Bogdan",
        "Kowalski Nowak Kowalska Lewandowski Zielinski Szymanski Dabrowski Kaminski Wojcik Mazur Popescu Ionescu Popa \
         Radu Dumitru Stan Munteanu Constantin Petrov Ivanov Dimitrov Georgiev Shevchenko Kovalenko Bondarenko Novák \
         Horváth Kazlauskas Jankauskas Petrauskas Berzins Ozolins Nagy Kovács Hoxha Shehu Krasniqi Gashi Šimek Žukas",
    ),
    (
        45,
        "María Ana Sofia Lucía Beatriz Inês Catarina Joana Carmen Isabel Paula Gabriela Juliana Fernanda Camila Valentina \
         Giulia Chiara Francesca Elena Mónica Rocío Begoña Conceição Margarida",
        "José João Carlos Luis Miguel Pedro António Rafael Diego Juan Andrés Ricardo Fernando Bruno Tiago Paulo Marco \
         Luca Giovanni Alessandro Sebastián Santiago Rui Nuno Jesús",
        "Silva Santos Ferreira Pereira García Rodríguez Martínez Fernández López González Sánchez Pérez Gómez Costa \
         Oliveira Souza Rodrigues Almeida Gonçalves Lima Rossi Russo Ferrari Romano Ricci Marino Muñoz Nuñez Castaño \
         Restrepo Quispe Rojas Vargas Conceição Simões",
    ),
    (
        30,
        "Mei Li Xin Ying Wei Jing Yan Hui Lan Siu Thi Linh Hoa Mai Yuki Sakura Ji-woo Min-seo Grace Fiona",
        "Wei Ming Jun Chen Hao Lei Kai Wing Ka Man Hung Minh Duc Tuan Hiroshi Kenji Min-jun Ji-ho Jason Kevin",
        "Chan Wong Li Wang Chen Zhang Liu Lee Cheung Lam Ho Ng Leung Tang Lau Huang Lin Wu Yang Zhao Nguyen Tran Pham Le \
         Kim Park Choi Tanaka Sato Suzuki",
    ),
    (
        25,
        "Ayse Elif Zeynep Emine Hatice Leyla Sara Hodan Ifrah Sahra Hibo Zahra Parisa Maryam Nour Rania Layla Dina Selam \
         Hiwot",
        "Mehmet Mustafa Hüseyin Emre Murat Abdi Abdullahi Mahad Omar Reza Hossein Ali Karim Youssef Samir Hadi Dawit \
         Tesfaye Yonas Ismaïl",
        "Yilmaz Kaya Demir Çelik Öztürk Aydin Özdemir Mohamed Abdi Warsame Farah Hersi Jama Ismail Hosseini Ahmadi \
         Karimi Haddad Mansour Saleh Tesfaye Haile Bekele Rahimi Noori Georgiou Ioannou Constantinou",
    ),
];

type Lists = Vec<(u64, [Vec<&'static str>; 3])>;

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let words = |text: &'static str| text.split_whitespace().collect();
    COMMUNITIES
        .iter()
        .map(|&(share, women, men, surnames)| (share, [words(women), words(men), words(surnames)]))
        .collect()
});

/// The list from which a name is taken.
#[derive(Clone, Copy, Default)]
pub(crate) enum Which {
    #[default]
    Women = 0,
    Men = 1,
    Surnames = 2,
}

/// A random community, weighted by its share.
pub(crate) fn community(random: &mut Random) -> usize {
    random.pick(&LISTS.iter().enumerate().map(|(index, (share, _))| (index, *share)).collect::<Vec<_>>())
}

/// A name of a community.
pub(crate) fn name(community: usize, which: Which, random: &mut Random) -> &'static str {
    let names = LISTS.get(community).and_then(|(_, lists)| lists.get(which as usize)).map_or(&[][..], Vec::as_slice);
    random.zipf(names.len() as u64).and_then(|at| names.get(at)).copied().unwrap_or("Smith")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_names_enough_and_windows_1252_can_write_them() {
        let count = |wanted: &[usize]| {
            let mut names: Vec<&str> = vec![];
            for (_, lists) in LISTS.iter() {
                names.extend(wanted.iter().filter_map(|list| lists.get(*list)).flatten());
            }
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        assert!(count(&[0, 1]) >= 300 && count(&[2]) >= 400, "{} {}", count(&[0, 1]), count(&[2]));
        for name in LISTS.iter().flat_map(|(_, lists)| lists).flatten() {
            assert!(!encoding_rs::WINDOWS_1252.encode(name).2, "{name}");
        }
    }
}
